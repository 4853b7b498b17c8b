<?php

/**
 * Where the daemon's sockets and its spool may be: the folders of PROTOCOL.md, best first; and why one is not reached.
 *
 * Under PHP-FPM the environment is empty unless the pool passes it on (`env[SIDECAR_RUNTIME_DIR] = …`). Nothing is
 * looked at that connecting tells as well: `open_basedir` forbids the look, but not the connection.
 */

declare(strict_types=1);

namespace Sidecar;

use Sidecar\Exception\ConnectionFailed;
use Sidecar\Exception\Rejected;

final class Where
{
    private const EPERM = 1;
    private const ENOENT = 2;
    private const EACCES = 13;
    private const ENOTDIR = 20;
    private const PATH_MAX = 107; // bytes of a socket's path; PHP would cut the rest off

    /**
     * Return a connection to the first folder's socket that is there. `$connect` tries one path: it returns the stream,
     * or false with errno and text set.
     *
     * @param callable(string, ?int, ?string): (resource|false) $connect
     * @return resource
     * @throws ConnectionFailed|Rejected
     */
    public static function connect(string $name, ?string $runtimeDir, callable $connect)
    {
        $paths = self::sockets($name, $runtimeDir);
        foreach ($paths as $path) {
            $errno = $error = null;
            Silence::begin();
            try {
                $socket = $connect($path, $errno, $error);
            } finally {
                Silence::end();
            }
            if ($socket !== false) {
                return $socket;
            }
            if ($errno !== self::ENOENT && $errno !== self::ENOTDIR) {
                throw self::refusal($path, (int) $errno, (string) $error);
            }
        }
        $folders = implode(' or ', array_map('dirname', $paths));
        throw new ConnectionFailed("cannot reach sidecar: no {$name} in {$folders}, is `sidecar serve` running?");
    }

    /** Make the error for a socket that cannot be used. */
    public static function refusal(string $path, int $errno, string $error): ConnectionFailed|Rejected
    {
        if ($errno === self::EACCES || $errno === self::EPERM) {
            $cure = self::isForAGroup($path)
                ? 'join the group of the socket and restart the web server after joining it'
                : 'do it as its owner, or run a `sidecar serve` of your own';
            $uid = self::uid();
            return new Rejected('not_allowed', "cannot use {$path}: its permissions keep user {$uid} out, {$cure}");
        }
        return new ConnectionFailed("cannot reach sidecar: {$path}: {$error}, is `sidecar serve` running?");
    }

    /**
     * Return the paths at which the socket may be, best first.
     *
     * @return list<string>
     */
    private static function sockets(string $name, ?string $runtimeDir): array
    {
        $paths = [];
        foreach (self::folders($runtimeDir) as $folder) {
            $path = "{$folder}/{$name}";
            if (strlen($path) > self::PATH_MAX) {
                throw new \InvalidArgumentException(
                    "cannot use {$path}: the path of a socket has at most " . self::PATH_MAX . ' bytes'
                );
            }
            if (self::isTrusted($folder)) {
                $paths[] = $path;
            }
        }
        return $paths;
    }

    /**
     * Return the folders in which a spool may be, best first: what a running daemon linked to, then the state folders.
     *
     * @return list<string>
     */
    public static function spools(?string $runtimeDir): array
    {
        $folders = array_filter(self::folders($runtimeDir), self::isTrusted(...));
        return array_map(static fn (string $folder): string => "{$folder}/spool", [...$folders, ...self::states()]);
    }

    /**
     * Return the state folders, best first: the one that is named, else this user's and that of the system.
     *
     * @return non-empty-list<string>
     */
    public static function states(): array
    {
        $named = self::environment('SIDECAR_STATE_DIR');
        if ($named !== '') {
            return [$named];
        }
        $home = self::environment('XDG_STATE_HOME');
        $own = ($home !== '' ? $home : self::environment('HOME') . '/.local/state') . '/sidecar';
        return self::uid() === 0 ? ['/var/lib/sidecar'] : [$own, '/var/lib/sidecar'];
    }

    /** @return list<string> */
    private static function folders(?string $runtimeDir): array
    {
        $named = $runtimeDir ?? self::environment('SIDECAR_RUNTIME_DIR');
        if ($named !== '') {
            return [$named];
        }
        $uid = self::uid();
        $session = self::environment('XDG_RUNTIME_DIR');
        $folders = [
            $uid === 0 ? '/run/sidecar' : '',
            $session === '' ? '' : "{$session}/sidecar",
            "/run/user/{$uid}/sidecar",
            "/tmp/sidecar-{$uid}",
            '/run/sidecar',
        ];
        return array_values(array_unique(array_filter($folders)));
    }

    /** Anybody can make /tmp/sidecar-<uid> first, and would be handed every job: it is believed only when it is ours. */
    private static function isTrusted(string $folder): bool
    {
        $uid = self::uid();
        if ($folder !== "/tmp/sidecar-{$uid}") {
            return true;
        }
        Silence::begin();
        $status = lstat($folder);
        Silence::end();
        return $status !== false && ($status['mode'] & 0o170000) === 0o040000 && $status['uid'] === $uid;
    }

    /** Say whether there is a group that may use what is at a path; false where nobody but its owner may. */
    private static function isForAGroup(string $path): bool
    {
        Silence::begin();
        $status = stat($path) ?: stat(dirname($path));
        Silence::end();
        return $status !== false && ($status['mode'] & 0o070) !== 0;
    }

    /** Return who this process is for the kernel. */
    public static function uid(): int
    {
        if (function_exists('posix_geteuid')) {
            return posix_geteuid();
        }
        Silence::begin();
        $uid = fileowner('/proc/self');
        Silence::end();
        return $uid === false ? (int) getmyuid() : $uid;
    }

    private static function environment(string $name): string
    {
        $value = getenv($name);
        return is_string($value) ? $value : '';
    }
}
