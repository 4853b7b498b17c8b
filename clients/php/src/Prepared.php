<?php

declare(strict_types=1);

namespace Sidecar;

/**
 * A job that is packed and not handed over: its id may be stored in the transaction that it belongs to, and `send` be
 * called when that is committed.
 */
final class Prepared
{
    public readonly string $id;

    /** @param array<string, mixed> $options checked */
    public function __construct(
        private readonly string $bytes,
        private readonly string $message,
        private readonly array $options,
        private readonly Door $door,
    ) {
        $this->id = Id::show($bytes);
    }

    /** Hand the job over, as `submit` does. Twice is once: the id is the same. */
    public function send(): Job
    {
        return new Job($this->bytes, $this->door, $this->door->deliver($this->bytes, $this->message, $this->options));
    }
}
