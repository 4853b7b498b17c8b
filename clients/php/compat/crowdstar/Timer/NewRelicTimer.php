<?php

declare(strict_types=1);

namespace CrowdStar\BackgroundProcessing\Timer;

/**
 * New Relic's transaction; without its extension it does nothing.
 */
class NewRelicTimer extends AbstractTimer
{
    public function stopTiming(): AbstractTimer
    {
        if (extension_loaded('newrelic')) {
            newrelic_end_of_transaction();
        }
        return $this;
    }
}
