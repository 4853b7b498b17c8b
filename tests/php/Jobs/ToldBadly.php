<?php

declare(strict_types=1);

namespace Jobs;

final class ToldBadly
{
    public static function work(): never
    {
        throw new \RangeException('the first');
    }

    public static function failed(\Throwable $error): never
    {
        throw new \LogicException('the second');
    }
}
