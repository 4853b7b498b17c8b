<?php

/**
 * The stream: ask the daemon and get its answer, within a deadline, across its restarts.
 *
 * One connection per request of the web server (connecting takes 3 µs), so no answer of an earlier one can be in it;
 * and every question has a number, so none is taken for the answer to another. All verbs may be said twice: a submit
 * because its id is the client's. So when the daemon goes away in the middle, it is asked again.
 */

declare(strict_types=1);

namespace Sidecar;

use Sidecar\Exception\ConnectionFailed;
use Sidecar\Exception\ProtocolViolation;
use Sidecar\Exception\Rejected;
use Sidecar\Exception\SidecarException;
use Sidecar\Exception\TimedOut;

final class Control
{
    private const REPLY = 1;
    private const LIMIT = 64 * 1024 * 1024; // bytes in one reply
    private const CHUNK = 64 * 1024;
    private const AT_ONCE = 256; // requests in one write
    private const EAGAIN = 11;
    private const PAUSE = 5_000; // µs until a full backlog is tried again
    private const LOOK = 0.1; // seconds until a daemon that went away is looked for again
    private const PATIENCE = 60.0; // seconds to look for one that was there

    /** @var resource|null */
    private $socket = null;
    private int $owner = 0; // the process whose connection it is: a forked child opens its own
    private int $number = 0;
    private string $come = '';

    public function __construct(private readonly ?string $runtimeDir)
    {
    }

    /**
     * Return the result of one verb. `$params` is a packed array; `$ends` on `Clock`, null for ever.
     * `$lasting`: a question that lasts, for which a daemon that went away is looked for again.
     *
     * @throws ConnectionFailed|TimedOut|Rejected|ProtocolViolation
     */
    public function request(string $verb, string $params, ?float $ends, bool $lasting = false): mixed
    {
        $again = false;
        $until = $ends ?? INF;
        while (true) {
            try {
                $this->open($until);
            } catch (ConnectionFailed $problem) {
                if (!$again || !$lasting || Clock::now() + self::LOOK > $until) {
                    throw $problem;
                }
                usleep((int) (self::LOOK * 1e6));
                continue;
            }
            $answer = $this->ask($verb, $params, $ends);
            if ($answer !== null) {
                return self::result($answer);
            }
            $this->close();
            if ($again && !$lasting) {
                throw new ConnectionFailed("cannot {$verb}: the daemon went away again");
            }
            $again = true;
            $until = min($ends ?? INF, Clock::now() + self::PATIENCE);
        }
    }

    /**
     * Return the results of one verb for several params, asked in one write. The first error is thrown.
     *
     * @param list<string> $params each a packed array
     * @return list<mixed>
     * @throws ConnectionFailed|TimedOut|Rejected|ProtocolViolation
     */
    public function requestAll(string $verb, array $params, float $ends): array
    {
        $results = [];
        foreach (array_chunk($params, self::AT_ONCE, true) as $some) { // more, and both sides might wait to write
            $results += $this->askAll($verb, $some, $ends) ?? $this->askAll($verb, $some, $ends)
                ?? throw new ConnectionFailed("cannot {$verb}: the daemon went away again");
        }
        ksort($results);
        return $results;
    }

    /**
     * @param array<int, string> $params
     * @return array<int, mixed>|null the results by the keys of the params; null when the connection ended before them
     */
    private function askAll(string $verb, array $params, float $ends): ?array
    {
        $this->open($ends);
        $frames = '';
        $waiting = [];
        foreach ($params as $key => $one) {
            $frames .= $this->frame($verb, $one);
            $waiting[$this->number] = $key;
        }
        $results = [];
        try {
            $open = $this->write($frames, $verb, $ends);
            while ($open && $waiting !== []) {
                $message = $this->receive($verb, $ends);
                $open = $message !== null;
                if (!$open || $message[0] !== self::REPLY) {
                    continue;
                }
                $number = $message[1] ?? -1; // an answer to nobody says why the connection is being closed
                $result = $number < 0 || isset($waiting[$number]) ? self::result($message) : null;
                if (isset($waiting[$number])) {
                    $results[$waiting[$number]] = $result;
                    unset($waiting[$number]);
                }
            }
        } catch (SidecarException $error) {
            $this->close();
            throw $error;
        }
        if (!$open) {
            $this->close();
            return null;
        }
        return $results;
    }

    /** Close the connection; the next request opens another. */
    public function close(): void
    {
        if ($this->socket !== null) {
            fclose($this->socket);
            $this->socket = null;
        }
    }

    private function open(float $until): void
    {
        if ($this->socket !== null && $this->owner === getmypid()) {
            return;
        }
        $this->come = '';
        $this->owner = (int) getmypid();
        $this->socket = $this->connected($until);
    }

    /** @return resource */
    private function connected(float $until)
    {
        $try = fn (string $path, mixed &$errno, mixed &$error): mixed => self::tried($path, $until, $errno, $error);
        return Where::connect('control.sock', $this->runtimeDir, $try);
    }

    /** @return resource|false */
    private static function tried(string $path, float $until, ?int &$errno, ?string &$error)
    {
        do {
            $left = max(0.001, min(60.0, $until - Clock::now()));
            $socket = stream_socket_client("unix://{$path}", $errno, $error, $left);
            $busy = $socket === false && $errno === self::EAGAIN; // its backlog is full: PHP waits for no timeout
            $busy && usleep(self::PAUSE);
        } while ($busy && Clock::now() < $until);
        if ($busy) {
            throw new TimedOut("cannot reach sidecar: {$path} takes no connection in time, the daemon is busy");
        }
        $socket && stream_set_chunk_size($socket, self::CHUNK);
        return $socket;
    }

    /** @return array{int, int|null, mixed, mixed}|null the reply; null when the connection ended before it */
    private function ask(string $verb, string $params, ?float $ends): ?array
    {
        $frame = $this->frame($verb, $params);
        try {
            if (!$this->write($frame, $verb, $ends)) {
                return null;
            }
            do {
                $message = $this->receive($verb, $ends);
            } while ($message !== null && !self::answers($message, $this->number));
        } catch (SidecarException $error) {
            $this->close(); // how far it was written or read is not known to the next
            throw $error;
        }
        if ($message !== null && $message[1] === null) {
            $this->close();
        }
        return $message;
    }

    private function frame(string $verb, string $params): string
    {
        $this->number = ($this->number + 1) & 0xffffffff;
        $body = "\x94\x00\xce" . pack('N', $this->number) . Msgpack::encode($verb) . $params;
        return pack('N', strlen($body)) . $body;
    }

    /** @param list<mixed> $message */
    private static function answers(array $message, int $number): bool
    {
        [$kind, $to] = $message;
        return $kind === self::REPLY && ($to === $number || $to === null && $message[2] !== null); // null: an error
    }

    private function write(string $data, string $verb, ?float $ends): bool
    {
        while ($data !== '') {
            $this->limit($verb, $ends);
            Silence::begin();
            $written = fwrite($this->socket, $data);
            $said = Silence::said();
            Silence::end();
            if ($written === false || $written === 0) {
                if ($written === 0 || str_contains($said, 'errno=11')) {
                    throw new TimedOut("cannot {$verb}: the daemon did not read the request in time");
                }
                return $this->hasLastWords();
            }
            $data = substr($data, $written);
        }
        return true;
    }

    /** Say whether the daemon answered before it hung up: what is too large is refused unread. */
    private function hasLastWords(): bool
    {
        Silence::begin();
        stream_set_timeout($this->socket, 0, 1000);
        $this->come .= (string) fread($this->socket, self::CHUNK);
        Silence::end();
        return $this->come !== '';
    }

    /** @return list<mixed>|null */
    private function receive(string $verb, ?float $ends): ?array
    {
        while (strlen($this->come) < 4) {
            if (!$this->read($verb, $ends)) {
                return null;
            }
        }
        $size = unpack('N', $this->come)[1];
        if ($size > self::LIMIT) {
            throw new ProtocolViolation("cannot read answer: it announces {$size} bytes, is this sidecar's socket?");
        }
        while (strlen($this->come) < 4 + $size) {
            if (!$this->read($verb, $ends)) {
                return null;
            }
        }
        $message = Msgpack::decode(substr($this->come, 4, $size));
        $this->come = substr($this->come, 4 + $size);
        $wanted = is_array($message) ? [1 => 4, 2 => 3][$message[0] ?? 0] ?? 0 : 0;
        if ($wanted === 0 || count($message) !== $wanted) {
            throw new ProtocolViolation("cannot read answer: no reply and no notice, is this sidecar's socket?");
        }
        return $message;
    }

    private function read(string $verb, ?float $ends): bool
    {
        $this->limit($verb, $ends);
        Silence::begin();
        $data = fread($this->socket, self::CHUNK);
        Silence::end();
        if ($data !== false && $data !== '') {
            $this->come .= $data;
            return true;
        }
        if (stream_get_meta_data($this->socket)['timed_out']) {
            if ($ends === null) {
                return true; // for ever, an hour at a time
            }
            throw new TimedOut("cannot {$verb}: no answer from the daemon in time");
        }
        return false;
    }

    private function limit(string $verb, ?float $ends): void
    {
        $left = $ends === null ? 3600.0 : $ends - Clock::now();
        if ($left <= 0) {
            throw new TimedOut("cannot {$verb}: no answer from the daemon in time");
        }
        $microseconds = max(1, (int) ($left * 1e6));
        stream_set_timeout($this->socket, intdiv($microseconds, 1_000_000), $microseconds % 1_000_000);
    }

    /** @param array{int, int|null, mixed, mixed} $message */
    private static function result(array $message): mixed
    {
        [, , $error, $result] = $message;
        if ($error === null) {
            return $result;
        }
        if (!is_array($error) || !is_string($error['code'] ?? null)) {
            throw new ProtocolViolation('cannot read answer: its error is ' . get_debug_type($error));
        }
        $said = is_string($error['message'] ?? null) ? $error['message'] : $error['code'];
        throw $error['code'] === 'unavailable' ? new ConnectionFailed($said) : new Rejected($error['code'], $said);
    }
}
