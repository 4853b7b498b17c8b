<?php

/**
 * Where jobs wait for the next tick: a folder of your own, outside of what the web server shows. The crontab names it
 * too.
 */

declare(strict_types=1);

return ['state' => getenv('SIDECAR_STATE_DIR') ?: '/home/you/sidecar'];
