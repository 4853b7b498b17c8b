<?php

/**
 * Today: started each minute, works through the table.
 */

declare(strict_types=1);

require __DIR__ . '/database.php';

foreach ($database->query('SELECT id, month FROM queue WHERE done = 0')->fetchAll(PDO::FETCH_ASSOC) as $row) {
    Shop\report($folder, $row['month']);
    $database->prepare('UPDATE queue SET done = 1 WHERE id = ?')->execute([$row['id']]);
}
