<?php

declare(strict_types=1);

namespace Jobs;

final class Plain
{
    private function hide(): void
    {
    }
}
