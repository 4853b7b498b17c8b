<?php

declare(strict_types=1);

namespace CrowdStar\BackgroundProcessing\Exception;

use Exception;

/**
 * Nowhere any more: what refused to run there runs. It is here for those who catch it.
 */
class InvalidEnvironmentException extends Exception
{
}
