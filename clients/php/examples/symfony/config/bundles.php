<?php

declare(strict_types=1);

return [
    Symfony\Bundle\FrameworkBundle\FrameworkBundle::class => ['all' => true],
    Sidecar\Bridge\Symfony\SidecarBundle::class => ['all' => true],
];
