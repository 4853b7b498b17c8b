<?php

/**
 * A bootstrap that ends the process, as applications do that are down for maintenance.
 */

declare(strict_types=1);

exit('down for maintenance');
