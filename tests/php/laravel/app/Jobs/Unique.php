<?php

declare(strict_types=1);

namespace App\Jobs;

use Illuminate\Contracts\Queue\ShouldBeUnique;

final class Unique extends Step implements ShouldBeUnique
{
}
