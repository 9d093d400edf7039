-- What else a line of the bank's can be: a fee, the operator's own money on its way to the account of
-- third parties, a refund of the operator's.

ALTER TABLE bank_match DROP CONSTRAINT bank_match_kind_check;
ALTER TABLE bank_match ADD CONSTRAINT bank_match_kind_check
    CHECK (kind IN ('suspense', 'payout', 'payout_return', 'transfer', 'debit', 'debit_return',
                    'receipt', 'own_receipt', 'fee', 'top_up', 'refund', 'other'));
