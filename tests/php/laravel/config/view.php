<?php

declare(strict_types=1);

return ['paths' => [], 'compiled' => dirname(__DIR__) . '/storage'];
