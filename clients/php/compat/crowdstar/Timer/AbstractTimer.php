<?php

declare(strict_types=1);

namespace CrowdStar\BackgroundProcessing\Timer;

/**
 * What measures the request, and is not to measure the work after it.
 */
abstract class AbstractTimer
{
    /** Stop measuring: the response has ended. */
    abstract public function stopTiming(): AbstractTimer;
}
