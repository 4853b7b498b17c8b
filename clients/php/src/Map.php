<?php

declare(strict_types=1);

namespace Sidecar;

/**
 * A map where PHP's array would be taken for a list: `new Map([])`, or one whose keys happen to be 0, 1, 2…
 */
final class Map
{
    /** @param array<int|string, mixed> $entries */
    public function __construct(public readonly array $entries)
    {
    }
}
