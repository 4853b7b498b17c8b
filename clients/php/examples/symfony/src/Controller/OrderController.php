<?php

declare(strict_types=1);

namespace App\Controller;

use App\Message\SendReceipt;
use Symfony\Component\HttpFoundation\JsonResponse;
use Symfony\Component\HttpFoundation\Request;
use Symfony\Component\Messenger\MessageBusInterface;
use Symfony\Component\Messenger\Stamp\TransportMessageIdStamp;

/**
 * POST /orders: answered when the receipt is handed off, and not when it is sent.
 */
final class OrderController
{
    public function __construct(private readonly MessageBusInterface $bus)
    {
    }

    public function __invoke(Request $request): JsonResponse
    {
        $order = (int) $request->request->get('order');
        $envelope = $this->bus->dispatch(new SendReceipt($order, (string) $request->request->get('email')));
        return new JsonResponse(['job' => $envelope->last(TransportMessageIdStamp::class)?->getId()], 202);
    }
}
