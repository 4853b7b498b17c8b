<?php

declare(strict_types=1);

namespace Sidecar\Exception;

/**
 * Nobody is there, or it may not be spoken to: is the daemon up, and does it serve this user?
 */
final class ConnectionFailed extends \RuntimeException implements SidecarException
{
}
