"""Sample apps: which platforms there are, and a small project that loads one bundle, written for one of them.

The samples themselves are in `edgevit_deploy/examples/PLATFORM`: whole projects without a placeholder, which read any bundle of
their back ends by its manifest. Here they are only found, checked against a bundle, and copied together with it.
"""
