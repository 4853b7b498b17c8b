<?php

/**
 * Instead of crowdstar/background-processing: require this file, and its classes are there, with its behaviour.
 *
 * Closures run in this process after the response, as they did; a name instead of a closure goes to the daemon. Where
 * the original refused to run (the command line, `php -S`, mod_php) it works.
 */

declare(strict_types=1);

if (!class_exists('Sidecar\Client')) {
    require __DIR__ . '/../autoload.php';
}

spl_autoload_register(static function (string $class): void {
    if (str_starts_with($class, 'CrowdStar\BackgroundProcessing\\')) {
        $file = __DIR__ . '/crowdstar/' . strtr(substr($class, 31), '\\', '/') . '.php';
        if (is_file($file)) {
            require $file;
        }
    }
});
