<?php

/**
 * A bootstrap that fails.
 */

declare(strict_types=1);

throw new RuntimeException('no database today');
