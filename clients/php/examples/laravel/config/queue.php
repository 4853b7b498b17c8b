<?php

declare(strict_types=1);

return [
    'default' => env('QUEUE_CONNECTION', 'sidecar'),
    'connections' => [
        'sidecar' => [
            'driver' => 'sidecar',
            'queue' => 'default',
            'tries' => 3, // of jobs that name none; 0: no limit
            'timeout' => 60, // seconds, of jobs that name none
            'after_commit' => true,
            'runtime_dir' => env('SIDECAR_RUNTIME_DIR'), // null: where `sidecar serve` is by default
        ],
    ],
    'failed' => ['driver' => 'database-uuids', 'database' => env('DB_CONNECTION', 'sqlite'), 'table' => 'failed_jobs'],
];
