<?php

/**
 * What a PHP job needs to find its code: which php, what to require first, in which folder. Made once per process, and
 * sent with each job, so that nothing has to be configured.
 *
 * Under FPM PHP_BINARY is php-fpm, so the command line's php of the same version is named. The bootstrap is WordPress
 * or the autoloader of Composer, where one is loaded. The folder is the project's, not that of the page: each other
 * record is another zygote to the daemon.
 */

declare(strict_types=1);

namespace Sidecar;

final class Runtime
{
    /** Return the packed record. `$php` and `$bootstrap` are paths that replace what is found. */
    public static function record(?string $php, ?string $bootstrap): string
    {
        return self::packed(self::fields($php, $bootstrap));
    }

    /** @return array<string, mixed> the record, not packed */
    public static function fields(?string $php, ?string $bootstrap): array
    {
        $bootstrap ??= self::application();
        $record = ['kind' => 'php', 'interpreter' => $php ?? self::interpreter(), 'worker' => self::worker()];
        if ($bootstrap !== null) {
            $record['bootstrap'] = $bootstrap;
        }
        $folder = self::folder($bootstrap);
        if ($folder !== null) {
            $record['cwd'] = $folder;
        }
        $env = self::environment();
        if ($env !== []) {
            $record['env'] = $env;
        }
        return $record;
    }

    /**
     * Pack a record.
     *
     * @param array<string, mixed> $record
     */
    public static function packed(array $record): string
    {
        if (isset($record['env'])) {
            $record['env'] = new Map($record['env']);
        }
        return Msgpack::encode($record, 'runtime');
    }

    /** Return the path of the script that runs a call. */
    public static function worker(): string
    {
        return dirname(__DIR__) . '/bin/sidecar-php-worker';
    }

    /** Return the php of the command line that belongs to this process. */
    public static function interpreter(): string
    {
        if (self::isCommandLine() && PHP_BINARY !== '') {
            return PHP_BINARY;
        }
        $versioned = PHP_BINDIR . '/php' . PHP_MAJOR_VERSION . '.' . PHP_MINOR_VERSION;
        Silence::begin(); // open_basedir may forbid the look
        $found = realpath($versioned) !== false; // which PHP remembers from page to page
        Silence::end();
        return $found ? $versioned : PHP_BINDIR . '/php';
    }

    /** Return the folder that jobs run in: the present one on the command line, else the project's; null: none known. */
    public static function folder(?string $bootstrap): ?string
    {
        if (self::isCommandLine() && PHP_SAPI !== 'cli-server') { // which goes to the folder of each page
            $folder = getcwd();
            return $folder === false ? null : $folder;
        }
        $bootstrap ??= self::application();
        if ($bootstrap === null) {
            return null;
        }
        $folder = dirname($bootstrap);
        return basename($folder) === 'vendor' ? dirname($folder) : $folder;
    }

    private static function isCommandLine(): bool
    {
        return in_array(PHP_SAPI, ['cli', 'cli-server', 'phpdbg'], true);
    }

    private static function application(): ?string
    {
        if (defined('ABSPATH') && defined('WPINC')) { // there, Composer's is that of whichever plugin was loaded last
            return ABSPATH . 'wp-load.php';
        }
        if (!class_exists('Composer\Autoload\ClassLoader', false)) {
            return null;
        }
        foreach (\Composer\Autoload\ClassLoader::getRegisteredLoaders() as $vendor => $loader) {
            return "{$vendor}/autoload.php";
        }
        return null;
    }

    /** @return array<string, string> what SIDECAR_FORWARD_ENV names */
    private static function environment(): array
    {
        $env = [];
        foreach (preg_split('/[\s,]+/', (string) getenv('SIDECAR_FORWARD_ENV'), -1, PREG_SPLIT_NO_EMPTY) as $name) {
            $value = getenv($name);
            if (is_string($value)) {
                $env[$name] = $value;
            }
        }
        return $env;
    }
}
