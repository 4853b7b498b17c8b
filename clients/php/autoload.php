<?php

/**
 * For people without Composer: require this file, and `Sidecar\…` is there.
 */

declare(strict_types=1);

spl_autoload_register(static function (string $class): void {
    if (str_starts_with($class, 'Sidecar\\')) {
        $name = strtr(substr($class, 8), '\\', '/');
        // Those that every page loads are not looked for first: to ask the disk costs more than all else about a class.
        if (
            in_array($name, [
                'Client', 'Door', 'Handoff', 'Id', 'Job', 'Msgpack', 'Plan', 'Runtime', 'Silence', 'Terms', 'Where',
            ], true)
            || is_file(__DIR__ . "/src/{$name}.php")
        ) {
            require __DIR__ . "/src/{$name}.php";
        }
    }
});

require_once __DIR__ . '/src/functions.php';
