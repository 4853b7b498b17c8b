<?php

declare(strict_types=1);

namespace Sidecar\Bridge\Laravel;

use Illuminate\Queue\QueueManager;
use Illuminate\Support\ServiceProvider;

/**
 * Makes the driver `sidecar` known to config/queue.php. Laravel finds it by itself, in composer.json.
 */
final class SidecarServiceProvider extends ServiceProvider
{
    public function register(): void
    {
        $this->callAfterResolving('queue', function (QueueManager $queues): void {
            $queues->extend('sidecar', fn (): SidecarConnector => new SidecarConnector($this->app->basePath()));
        });
    }
}
