<?php

declare(strict_types=1);

namespace App\Message;

/**
 * A message whose handler writes a line into a file, and then does what it is told.
 */
final class Step
{
    public function __construct(public readonly string $what = 'return')
    {
    }
}
