<?php

/**
 * The way round: a file in the daemon's spool folder when nobody answers, taken in when somebody is there again.
 *
 * The maildir way: written under a name of its own in tmp/, then renamed into new/, so that a reader never sees half a
 * job. The same bytes as a datagram, named by the job's id: what is spooled twice is one file.
 */

declare(strict_types=1);

namespace Sidecar;

use Sidecar\Exception\ConnectionFailed;
use Sidecar\Exception\Rejected;

final class Spool
{
    private const RESERVE = 64 * 1024 * 1024; // bytes of a disk, or a tenth of a small one, that are left free
    private const MODE = 0640; // the daemon may read it through the folder's group, whatever the umask

    /**
     * Put one message into the spool.
     *
     * @throws Rejected when the disk is full but for its reserve
     * @throws ConnectionFailed when there is no spool that takes it
     */
    public static function write(?string $runtimeDir, string $id, string $message): void
    {
        $folders = Where::spools($runtimeDir);
        Silence::begin();
        try {
            foreach ($folders as $folder) {
                if (is_writable("{$folder}/tmp") && is_writable("{$folder}/new")) {
                    self::put($folder, bin2hex($id), $message);
                    return;
                }
            }
        } finally {
            Silence::end();
        }
        throw new ConnectionFailed(
            'cannot spool job: no folder takes it (' . implode(' or ', $folders)
            . '), start `sidecar serve` once, it makes the folder'
        );
    }

    private static function put(string $folder, string $name, string $message): void
    {
        $free = disk_free_space($folder);
        $total = disk_total_space($folder);
        if ($free !== false && $total !== false && $free - strlen($message) < min(self::RESERVE, $total / 10)) {
            throw new Rejected('no_space', "cannot spool job: {$folder} has no space left but the reserve, free some");
        }
        $draft = "{$folder}/tmp/{$name}." . getmypid() . '.' . bin2hex(random_bytes(4));
        $file = fopen($draft, 'xb'); // O_CREAT | O_EXCL: never through somebody's link
        $whole = $file !== false && chmod($draft, self::MODE) && fwrite($file, $message) === strlen($message);
        $whole = $file !== false && fclose($file) && $whole;
        if (!$whole || !rename($draft, "{$folder}/new/{$name}")) {
            $why = Silence::said();
            $file !== false && unlink($draft);
            throw new ConnectionFailed("cannot spool job: {$folder}: {$why}");
        }
    }
}
