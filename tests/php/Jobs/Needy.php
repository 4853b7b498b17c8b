<?php

declare(strict_types=1);

namespace Jobs;

final class Needy
{
    public function __construct(private readonly string $what)
    {
    }

    public function tell(): string
    {
        return $this->what;
    }
}
