<?php

declare(strict_types=1);

namespace Sidecar;

/**
 * A string that is bytes even if it looks like text: a job in Python gets `bytes` for it, not `str`.
 */
final class Bytes
{
    public function __construct(public readonly string $bytes)
    {
    }
}
