"""The jury: right-but-unusual clients and servers, and some with one real defect each, that the kit must tell apart."""
