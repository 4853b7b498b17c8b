<?php

/**
 * Where the daemon's sockets and its spool may be: the folders of PROTOCOL.md, best first.
 *
 * Under PHP-FPM the environment is empty unless the pool passes it on (`env[SIDECAR_RUNTIME_DIR] = …`). Nothing is
 * looked at that connecting tells as well: `open_basedir` forbids the look, but not the connection.
 */

declare(strict_types=1);

namespace Sidecar;

final class Where
{
    private const PATH_MAX = 107; // bytes of a socket's path; PHP would cut the rest off

    /**
     * Return the paths at which the socket may be, best first.
     *
     * @return list<string>
     */
    public static function sockets(string $name, ?string $runtimeDir): array
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
        $named = self::environment('SIDECAR_STATE_DIR');
        if ($named !== '') {
            $folders[] = $named;
        } else {
            if (self::uid() !== 0) {
                $home = self::environment('XDG_STATE_HOME');
                $folders[] = ($home !== '' ? $home : self::environment('HOME') . '/.local/state') . '/sidecar';
            }
            $folders[] = '/var/lib/sidecar';
        }
        return array_map(static fn (string $folder): string => "{$folder}/spool", array_values($folders));
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
    public static function isForAGroup(string $path): bool
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
