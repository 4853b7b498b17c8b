<?php

/** A job that the queue's database does not take, since its packets are smaller. */

declare(strict_types=1);

namespace Sidecar\Tick;

use RuntimeException;

final class TooLarge extends RuntimeException
{
}
