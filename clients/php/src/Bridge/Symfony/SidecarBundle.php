<?php

declare(strict_types=1);

namespace Sidecar\Bridge\Symfony;

use Symfony\Component\DependencyInjection\ContainerBuilder;
use Symfony\Component\DependencyInjection\Reference;
use Symfony\Component\HttpKernel\Bundle\Bundle;

/**
 * Makes `sidecar://` known to Messenger: one line in config/bundles.php.
 */
final class SidecarBundle extends Bundle
{
    public function build(ContainerBuilder $container): void
    {
        $container->register(TransportFactory::class)
            ->setArguments([new Reference('kernel')])
            ->addTag('messenger.transport_factory');
        $container->register(Consumer::class)
            ->setArguments([
                new Reference('messenger.receiver_locator'),
                new Reference('messenger.routable_message_bus'),
                new Reference('event_dispatcher'),
            ])
            ->setPublic(true); // the job asks the container for it
    }
}
