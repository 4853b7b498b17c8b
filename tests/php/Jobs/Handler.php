<?php

declare(strict_types=1);

namespace Jobs;

final class Handler
{
    public function __construct(private readonly string $made = 'without arguments')
    {
    }

    public function __invoke(int $number): string
    {
        return "{$number}, made {$this->made}";
    }
}
