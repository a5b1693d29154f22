from setuptools import Extension, setup

setup(ext_modules=[Extension("shout", ["shout.c"])])
