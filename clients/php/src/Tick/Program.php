<?php

/**
 * Whether a command is there and its folder can be entered, looked at beforehand: what could not begin is told as the
 * daemon tells it, and not as some shell or setsid does.
 */

declare(strict_types=1);

namespace Sidecar\Tick;

use Sidecar\Silence;

final class Program
{
    private const NOT_FOUND = 127; // exit statuses, as a shell would give them
    private const NOT_RUNNABLE = 126;

    /**
     * Return the exit status and the error of what cannot begin; null: it can. `$program` null: it is a call.
     *
     * @return array{int, array{type: string, message: string, traceback: string}}|null
     */
    public static function whyNot(?string $program, string $path, string $folder): ?array
    {
        if ((string) ini_get('open_basedir') !== '') { // which forbids the look; not the start
            return null;
        }
        Silence::begin();
        try {
            if (!is_dir($folder) || !is_executable($folder)) {
                $why = is_dir($folder) ? 'Permission denied' : 'No such file or directory';
                return self::refusal(self::NOT_RUNNABLE, 'FolderError', "cannot enter folder '{$folder}': {$why}");
            }
            return $program === null ? null : self::lookUp($program, $path, $folder);
        } finally {
            Silence::end();
        }
    }

    /** @return array{int, array{type: string, message: string, traceback: string}}|null */
    private static function lookUp(string $program, string $path, string $folder): ?array
    {
        $places = str_contains($program, '/') ? [$program] : [];
        foreach ($places === [] ? explode(':', $path) : [] as $place) {
            $places[] = "{$place}/{$program}";
        }
        $isThere = false;
        foreach ($places as $file) {
            $file = str_starts_with($file, '/') ? $file : "{$folder}/{$file}";
            if (is_file($file) && is_executable($file)) {
                return null;
            }
            $isThere = $isThere || file_exists($file);
        }
        $name = substr($program, 0, 200);
        return $isThere
            ? self::refusal(self::NOT_RUNNABLE, 'CommandError', "cannot run '{$name}': Permission denied")
            : self::refusal(self::NOT_FOUND, 'CommandNotFound', "cannot run '{$name}': no such file or command");
    }

    /** @return array{int, array{type: string, message: string, traceback: string}} */
    private static function refusal(int $status, string $type, string $message): array
    {
        return [$status, Rules::error($type, $message)];
    }
}
