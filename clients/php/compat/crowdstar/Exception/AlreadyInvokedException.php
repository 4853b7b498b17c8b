<?php

declare(strict_types=1);

namespace CrowdStar\BackgroundProcessing\Exception;

use Exception;

/**
 * The second run of one request.
 */
class AlreadyInvokedException extends Exception
{
}
