<?php

declare(strict_types=1);

namespace Sidecar\Exception;

/**
 * What every error of this client is, so that one catch is enough for who does not care which.
 */
interface SidecarException extends \Throwable
{
}
