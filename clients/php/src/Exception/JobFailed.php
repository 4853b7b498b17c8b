<?php

declare(strict_types=1);

namespace Sidecar\Exception;

/**
 * The job ended, and not well. `type` and `details` are what it threw, as far as it could say; `outcome` how it ended.
 */
final class JobFailed extends \RuntimeException implements SidecarException
{
    public function __construct(
        public readonly string $outcome,
        public readonly ?string $type,
        string $message,
        public readonly ?string $details = null,
    ) {
        parent::__construct($message);
    }
}
