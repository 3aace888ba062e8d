"""Makes exactly the changes of an approved plan, in the CRM and at Enerflo, and reads them back."""
