<?php

/**
 * The datagram socket: one send, no answer, the kernel holds the message whether a daemon is alive or not.
 *
 * It is persistent: a PHP-FPM worker keeps it from one request to the next. A daemon whose sockets are new answers an
 * old one with ECONNREFUSED or EPIPE, and ENOTCONN for ever after, while PHP's own check goes on calling it alive: so
 * whatever a send fails of, the socket is closed, opened again, and the message sent again.
 */

declare(strict_types=1);

namespace Sidecar;

use Sidecar\Exception\ConnectionFailed;
use Sidecar\Exception\Rejected;

final class Handoff
{
    public const TAKEN = 'taken';
    public const FULL = 'full';
    public const OVERSIZE = 'oversize';

    private const ENOENT = 2;
    private const EACCES = 13;
    private const EPERM = 1;
    private const ENOTDIR = 20;
    private const EMSGSIZE = 90;

    /** @var resource|null */
    private $socket = null;

    public function __construct(private readonly ?string $runtimeDir)
    {
    }

    /**
     * Send without waiting: TAKEN, FULL (no room now), or OVERSIZE (never by datagram).
     *
     * @throws ConnectionFailed when nobody is there, even after opening the socket anew
     * @throws Rejected when the kernel does not let us
     */
    public function push(string $message): string
    {
        for ($last = false;; $last = true) {
            $fresh = $this->socket === null;
            $socket = $this->socket ??= $this->open();
            Silence::begin();
            $written = fwrite($socket, $message);
            Silence::end();
            if ($written === strlen($message)) {
                return self::TAKEN;
            }
            if ($written === 0) {
                return self::FULL;
            }
            $errno = Silence::errno();
            if ($errno === self::EMSGSIZE) {
                return self::OVERSIZE;
            }
            $said = Silence::said();
            $this->close();
            // What a request of the past has left open may be of the past in turn: only a fresh one proves anything.
            if ($last && $fresh) {
                throw self::failure($said);
            }
        }
    }

    /** Wait until there may be room; false when there was none in time. */
    public function waitWritable(float $seconds): bool
    {
        if ($this->socket === null) {
            return true;
        }
        $read = $except = null;
        $write = [$this->socket];
        $microseconds = (int) (max(0.0, $seconds) * 1e6);
        Silence::begin();
        $ready = stream_select($read, $write, $except, intdiv($microseconds, 1_000_000), $microseconds % 1_000_000);
        Silence::end();
        return $ready === 1;
    }

    /** Let go of the socket; the next message opens another. */
    public function close(): void
    {
        if ($this->socket !== null) {
            Silence::begin();
            fclose($this->socket);
            Silence::end();
            $this->socket = null;
        }
    }

    /** @return resource */
    private function open()
    {
        $paths = Where::sockets('handoff.sock', $this->runtimeDir);
        foreach ($paths as $path) {
            Silence::begin();
            $flags = STREAM_CLIENT_CONNECT | STREAM_CLIENT_PERSISTENT;
            $socket = stream_socket_client("udg://{$path}", $errno, $error, 1.0, $flags);
            if ($socket !== false) {
                stream_set_blocking($socket, false);
            }
            Silence::end();
            if ($socket !== false) {
                return $socket;
            }
            if ($errno !== self::ENOENT && $errno !== self::ENOTDIR) {
                throw self::refusal($path, $errno, $error);
            }
        }
        throw new ConnectionFailed(
            'cannot reach sidecar: no handoff.sock in ' . implode(' or ', array_map('dirname', $paths))
            . ', is `sidecar serve` running?'
        );
    }

    /** Make the error for a socket that cannot be connected to. */
    public static function refusal(string $path, int $errno, string $error): ConnectionFailed|Rejected
    {
        if ($errno === self::EACCES || $errno === self::EPERM) {
            $cure = Where::isForAGroup($path)
                ? 'join the group of the socket and restart the web server after joining it'
                : 'run a `sidecar serve` of your own, as that user';
            return new Rejected('not_allowed', "cannot use {$path}: its permissions keep user " . Where::uid()
                . " out, {$cure}");
        }
        return new ConnectionFailed("cannot reach sidecar: {$path}: {$error}, is `sidecar serve` running?");
    }

    private static function failure(string $said): ConnectionFailed|Rejected
    {
        $errno = preg_match('/errno=(\d+)/', $said, $found) === 1 ? (int) $found[1] : 0;
        return self::refusal('its socket', $errno, $said);
    }
}
