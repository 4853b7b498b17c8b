<?php

/**
 * A job's bytes: what is the same for every job of one target made once, the id and the arguments joined to it per job.
 */

declare(strict_types=1);

namespace Sidecar;

use InvalidArgumentException;

final class Plan
{
    public const ENVELOPE = "\x93\x02\xa6submit\x91"; // [2, "submit", [job]] up to the job

    private string $fields = '';
    private int $count = 1; // and the id

    /**
     * `$runtime` is the packed record of a call; null for what has none.
     *
     * @param array<string, mixed> $target `call`, `argv` or `task`, and what goes with it
     * @param array<string, mixed> $options checked
     */
    public function __construct(
        private readonly array $target,
        public readonly array $options,
        ?string $runtime = null,
    ) {
        foreach ([...$target, ...array_diff_key($options, Terms::LOCAL)] as $name => $value) {
            $this->add($this->fields, $this->count, $name, Msgpack::encode($value, $name));
        }
        if ($runtime !== null) {
            $this->add($this->fields, $this->count, 'runtime', Msgpack::bin($runtime));
        }
    }

    /**
     * Pack one job as of `$now` (Unix seconds): the bytes that a datagram and a spool file carry.
     *
     * @param array<int|string, mixed> $args those with text keys are named arguments; of a task: its payload
     */
    public function message(string $id, array $args, float $now): string
    {
        $own = '';
        $count = $this->count;
        if ($args !== []) {
            $this->addArguments($own, $count, $args);
        }
        if (isset($this->options['delay'])) {
            $this->add($own, $count, 'run_at', Msgpack::encode($now + $this->options['delay']));
        }
        if (isset($this->options['expires'])) {
            [$kind, $seconds] = $this->options['expires'];
            $this->add($own, $count, 'expires', Msgpack::encode($kind === 'at' ? $seconds : $now + $seconds));
        }
        return self::ENVELOPE . Msgpack::mapHeader($count) . "\xa2id\xc4\x10" . $id . $this->fields . $own;
    }

    /** @param array<int|string, mixed> $args */
    private function addArguments(string &$own, int &$count, array $args): void
    {
        if (isset($this->target['task'])) {
            $this->add($own, $count, 'payload', Msgpack::bin(Named::payload($args)));
            return;
        }
        if (!isset($this->target['call'])) {
            throw new InvalidArgumentException(
                'cannot submit command: its words are its arguments, put them into the list'
            );
        }
        $named = [];
        if (!array_is_list($args)) {
            $named = array_filter($args, is_string(...), ARRAY_FILTER_USE_KEY);
            $args = array_values(array_diff_key($args, $named));
        }
        if ($args !== []) {
            $this->add($own, $count, 'args', Msgpack::bin(Msgpack::encode($args, 'args')));
        }
        if ($named !== []) {
            $this->add($own, $count, 'kwargs', Msgpack::bin(Msgpack::encode(new Map($named), 'args')));
        }
    }

    private function add(string &$fields, int &$count, string $name, string $packed): void
    {
        $fields .= chr(0xa0 | strlen($name)) . $name . $packed;
        $count++;
    }
}
