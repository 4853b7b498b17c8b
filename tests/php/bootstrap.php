<?php

/**
 * What loads the code of the jobs: an autoloader, and files with functions.
 */

declare(strict_types=1);

spl_autoload_register(static function (string $class): void {
    $file = __DIR__ . '/' . strtr($class, '\\', '/') . '.php';
    if (str_starts_with($class, 'Jobs\\') && is_file($file)) {
        require $file;
    }
});

require_once __DIR__ . '/functions.php';
require_once __DIR__ . '/plain.php';

$of_the_bootstrap = 'a global';
