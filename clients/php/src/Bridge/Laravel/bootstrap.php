<?php

/**
 * What a job's php loads: the application, booted once as artisan boots it, and then forked from for each job.
 *
 * It runs in the application's folder. One that starts in another way gives the connection a `bootstrap` of its own
 * that returns such a function.
 */

declare(strict_types=1);

use Illuminate\Contracts\Console\Kernel;
use Sidecar\Bridge\Laravel\Runner;

return (static function (): Closure {
    $base = (string) getcwd();
    require_once "{$base}/vendor/autoload.php";
    $app = require "{$base}/bootstrap/app.php";
    $app->make(Kernel::class)->bootstrap();
    Runner::load($app);
    return static fn (string $class): object => $app->make($class);
})();
