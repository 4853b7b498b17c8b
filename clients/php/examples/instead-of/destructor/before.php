<?php

/**
 * Today: an object that does what it was told when the script is over.
 */

declare(strict_types=1);

require __DIR__ . '/../shop.php';

$reports = new class (getenv('SHOP_FOLDER')) {
    /** @var list<string> */
    private array $months = [];

    public function __construct(private readonly string $folder)
    {
    }

    public function order(string $month): void
    {
        $this->months[] = $month;
    }

    public function __destruct()
    {
        foreach ($this->months as $month) {
            echo Shop\report($this->folder, $month), "\n";
        }
    }
};
register_shutdown_function(function (): void {
    echo "in a shutdown function\n";
});
$reports->order('May');
exit("ordered\n");
