<?php

/**
 * What a job's php loads: the application's autoloader and its kernel, booted once and then forked from for each job.
 *
 * It runs in the project's folder, with APP_ENV, APP_DEBUG and KERNEL_CLASS of the kernel that submitted. An
 * application that starts in another way gives the transport's option `bootstrap` a file of its own that returns such a
 * function.
 */

declare(strict_types=1);

use Sidecar\Bridge\Symfony\Consumer;
use Symfony\Component\Dotenv\Dotenv;

return (static function (): Closure {
    $project = (string) getcwd();
    require_once "{$project}/vendor/autoload.php";
    if (class_exists(Dotenv::class) && is_file("{$project}/.env")) {
        (new Dotenv())->bootEnv("{$project}/.env");
    }
    $class = (string) getenv('KERNEL_CLASS');
    $kernel = new $class((string) getenv('APP_ENV'), (bool) getenv('APP_DEBUG'));
    $kernel->boot();
    $kernel->getContainer()->get(Consumer::class); // made here, else each job would compile what it takes
    return static fn (string $class): object => $kernel->getContainer()->get($class);
})();
