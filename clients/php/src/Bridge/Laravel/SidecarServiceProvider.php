<?php

declare(strict_types=1);

namespace Sidecar\Bridge\Laravel;

use Illuminate\Queue\QueueManager;
use Illuminate\Support\ServiceProvider;
use Sidecar\Bridge\Signature;

/**
 * Makes the driver `sidecar` known to config/queue.php. Laravel finds it by itself, in composer.json.
 */
final class SidecarServiceProvider extends ServiceProvider
{
    public function register(): void
    {
        $this->callAfterResolving('queue', function (QueueManager $queues): void {
            $queues->extend('sidecar', fn (): SidecarConnector => $this->app->make(SidecarConnector::class));
        });
        $this->app->bind(SidecarConnector::class, fn (): SidecarConnector => new SidecarConnector(
            $this->app->basePath(),
            $this->app->make(Signature::class),
        ));
        $this->app->bind(Signature::class, function (): Signature {
            $config = $this->app->make('config');
            return new Signature([(string) $config->get('app.key'), ...$config->get('app.previous_keys', [])]);
        });
    }
}
