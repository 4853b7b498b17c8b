<?php

declare(strict_types=1);

namespace Sidecar\Bridge\Symfony;

use Symfony\Component\Messenger\Exception\UnrecoverableExceptionInterface;
use Throwable;

/**
 * What Messenger is told of a message that the daemon has given up: else its own retry strategy, which every transport
 * has by default, would begin from the start.
 */
final class NoTryLeft extends \RuntimeException implements UnrecoverableExceptionInterface
{
    public function __construct(Throwable $error)
    {
        parent::__construct($error->getMessage(), 0, $error);
    }
}
