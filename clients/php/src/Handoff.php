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

    private const EMSGSIZE = 90;

    /** @var resource|null */
    private $socket = null;
    private string $path = '';

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
            if ($last) { // the first may have been a socket of an earlier request: a fresh one alone proves anything
                throw Where::refusal($this->path, $errno, $said);
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
        return Where::connect('handoff.sock', $this->runtimeDir, $this->tried(...));
    }

    /** @return resource|false */
    private function tried(string $path, ?int &$errno, ?string &$error)
    {
        $this->path = $path;
        $flags = STREAM_CLIENT_CONNECT | STREAM_CLIENT_PERSISTENT;
        $socket = stream_socket_client("udg://{$path}", $errno, $error, 1.0, $flags);
        $socket && stream_set_blocking($socket, false);
        return $socket;
    }
}
