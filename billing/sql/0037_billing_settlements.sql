-- A line of the bank's can be the payout of a payment provider that its report has booked already.

ALTER TABLE bank_match DROP CONSTRAINT bank_match_kind_check;
ALTER TABLE bank_match ADD CONSTRAINT bank_match_kind_check
    CHECK (kind IN ('suspense', 'payout', 'payout_return', 'transfer', 'debit', 'debit_return',
                    'receipt', 'own_receipt', 'fee', 'top_up', 'refund', 'settlement', 'other'));
