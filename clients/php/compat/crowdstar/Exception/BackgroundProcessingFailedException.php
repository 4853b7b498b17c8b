<?php

declare(strict_types=1);

namespace CrowdStar\BackgroundProcessing\Exception;

use Exception;
use Throwable;

/**
 * What several closures threw, when one does not keep the next from running.
 */
class BackgroundProcessingFailedException extends Exception
{
    /** @var list<Throwable> */
    private $exceptions;

    /** @param list<Throwable> $exceptions */
    public function __construct(array $exceptions)
    {
        parent::__construct(count($exceptions) . ' background processing task(s) failed', 0, $exceptions[0] ?? null);
        $this->exceptions = $exceptions;
    }

    /** @return list<Throwable> */
    public function getExceptions(): array
    {
        return $this->exceptions;
    }
}
