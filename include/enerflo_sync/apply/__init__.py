"""Makes exactly the changes of a plan that was approved, in the CRM and at Enerflo, and reads them back."""
