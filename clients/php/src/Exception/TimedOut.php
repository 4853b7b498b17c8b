<?php

declare(strict_types=1);

namespace Sidecar\Exception;

/**
 * No answer in time. What was asked may have been done all the same.
 */
final class TimedOut extends \RuntimeException implements SidecarException
{
}
