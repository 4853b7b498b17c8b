<?php

declare(strict_types=1);

namespace Sidecar\Exception;

/**
 * What came is no answer of a sidecar daemon: a bug, or another program's socket.
 */
final class ProtocolViolation extends \RuntimeException implements SidecarException
{
}
